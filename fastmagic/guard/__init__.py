"""What protects a learner while a lesson's cell runs; `attach` is the only door to fastai."""
