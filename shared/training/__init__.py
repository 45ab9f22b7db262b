"""Trains models, in a process of its own: the only importer of scikit-learn and skl2onnx.

`python -m shared.training` reads a TrainingRequest as JSON from stdin and writes a TrainingResult to
stdout. It is handed its data, opens no connection and gets no setting.
"""
