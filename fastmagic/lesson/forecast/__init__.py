"""What a lesson will take, said before it starts: time, and whether it fits in the GPU's memory.

The body is read (`plan`, which stands on `reading`, `calls` and `constants`: all pure), a few real
steps are taken and undone (`trial`, with `steps` and `memory`), and `words` puts both together. The
forecast is an estimate, and a body that cannot be read beforehand gets no total, never a wrong one.
"""
