# Recipe `pets`: the 2019 lesson on 37 breeds, in fastai 2.
#
# The head alone first, then the whole network for two short epochs with rates so small that what
# it knows already is not lost.

epochs = 4  # --epochs
lr = 3e-3  # --lr

learn.freeze()
learn.fit_one_cycle(epochs, lr)

learn.unfreeze()
learn.fit_one_cycle(2, slice(lr / 3000, lr / 30))
