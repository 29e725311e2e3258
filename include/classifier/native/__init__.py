"""A server for the same archives as TorchServe's, without Java: Starlette and uvicorn, which the image has already.

``python -m include.classifier.native FOLDER``, see ``docs/native-runtime.md``. The server is outside of the archive:
what reads requests, computes and writes answers is the code in it, ``classifier_serving``, as it was when the model was
released. One process serves one model: two archives would have two packages of that one name.
"""
