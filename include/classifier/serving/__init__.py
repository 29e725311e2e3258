"""The code inside the archive: what turns texts into answers, in training, in evaluation and behind the endpoint.

The folder is packed as the package ``classifier_serving``. Therefore everything in it uses relative imports and
needs nothing but transformers, torch or ONNX Runtime, and the standard library.
"""
