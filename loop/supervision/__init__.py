"""What `supervised` and `keras_steps` are made of.

`losses.py` and `measures.py` take losses and metrics as Keras does, by the outputs of a model (`outputs.py`);
`class_weights.py` is `class_weight` of `fit`. `accumulate.py` and `scaling.py` stand between gradients and optimizer:
several batches to one update, and float16. `metric_copies.py` makes the metrics of the evaluation,
`layer_metrics.py` finds those that layers update by themselves, `model_metrics.py` takes those of a compiled model, and
`resetting.py` has them begin anew.

It may import `tensors` and `handles`, and what is below these.
"""
