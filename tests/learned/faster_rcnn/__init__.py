"""The paper's Faster R-CNN, for real: `make test-fasterrcnn` makes an environment of its own.

torchvision must not be installed beside the other tests: its package for Linux on PyPI is linked
with CUDA, cannot be imported beside a torch for the CPU, and then breaks what imports it halfway.
There `shim` supplies what is missing. In the ordinary environment these tests are skipped, but for
those of `test_missing`.
"""
