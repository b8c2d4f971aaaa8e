# Recipe `quick`: no GPU today? A good model in about a minute.
#
# The frozen network, which knows photographs already, looks at each picture once, and only the new
# head is trained on what it saw. Of more pictures than `most`, a part is used: as many of each
# class, chosen by the seed.

epochs = 3  # --epochs
lr = 3e-3  # --lr
seed = 42  # --seed
most = 2000

learn.freeze()
with learn.precomputed(most=most, seed=seed):
    learn.fit_one_cycle(epochs, lr)
