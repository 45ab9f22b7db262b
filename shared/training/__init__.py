"""Trains models, in a process of its own: the only importer of scikit-learn and skl2onnx.

`python -m shared.training` reads a TrainingRequest as JSON from stdin and writes a TrainingResult to stdout.
All its data is in the request: it opens no connection and reads no setting.
"""
