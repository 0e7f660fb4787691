"""The experiments' commands: one small file for each, loaded only when it is called."""
