"""A model: its card, its folder of JSON and safetensors, ONNX, and how it is opened."""
