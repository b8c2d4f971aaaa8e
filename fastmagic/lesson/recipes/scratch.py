# Recipe `scratch`: a small network that starts from nothing, trained in one fit.
# It suits pictures that are small and many enough; ImageNet's weights are not needed.

epochs = 8  # --epochs
lr = 5e-3  # --lr

learn.fit_one_cycle(epochs, lr)
