# Recipe `classic`: the 2018 lesson on dogs and cats, in fastai 2.
#
# First only the new head is trained, on top of what the network learned from ImageNet. Then the
# whole network is unfrozen and trained, in cycles of 1, 2 and 4 epochs that each start again at the
# full rate, as in the lesson. Early layers, which see edges and textures and need little change,
# get a smaller rate than late ones. At the end each validation picture is looked at several times,
# slightly changed ("test-time augmentation").
#
# Changed against 2018: fastai 0.7 trained by SGD with momentum, fastai 2 by Adam, which takes
# larger steps for the same rate. So the unfrozen rates are smaller than the lesson's 1e-4 to 1e-2.

epochs = 3  # --epochs
lr = 3e-3  # --lr

learn.freeze()
learn.fit_one_cycle(epochs, lr)

learn.unfreeze()
learn.fit_sgdr(3, 1, lr_max=slice(lr / 300, lr / 10))

preds, targets = learn.tta()
