# Recipe `modern`: the 2020 and 2022 lessons, one line.
#
# `fine_tune` trains the head for one epoch and then the whole network.

epochs = 3  # --epochs
lr = 2e-3  # --lr

learn.fine_tune(epochs, lr)
