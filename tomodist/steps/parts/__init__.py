"""What steps share: what a step is, how a unit is written, and parts of several steps.

base          what a step is; one way from a fingerprint to a committed unit
filling       one task per missing brick
pyramid       the smaller levels of a volume
lifting       images to a volume, brick by brick
filter, sirt  parts of a reconstruction
score_record  what stored scores were made from
statistics    mean and deviation of a volume
"""
