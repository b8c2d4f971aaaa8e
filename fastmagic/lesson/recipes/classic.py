# Recipe `classic`: the 2018 lesson on dogs and cats, in fastai 2.
#
# Changed against 2018, with the reason:
# - fastai 0.7 trained by SGD with momentum, fastai 2 by Adam, which takes larger steps for the same
#   rate. So the rates are smaller here: 3e-3 where the lesson had 1e-2, and for the whole network a
#   tenth of that and less.
# - fastai 2 trains batch norm in a frozen body too. On a few thousand pictures that makes the
#   network worse, so what ImageNet taught the batch norms is kept, as 0.7 kept it.
# - The first model trains three epochs instead of two, and the rate finder runs beside it on the
#   same precomputed features, where both cost a second.
# - Test-time augmentation trusts the plain picture and the changed ones alike (beta=0.5).

epochs = 3  # --epochs
lr = 3e-3  # --lr
progressive = False  # --progressive

# 1. A first model in seconds. The frozen network looks at each picture once; only the new head,
#    which turns what it saw into the names of the classes, is trained.
learn.freeze()
learn.keep_batch_norm()
with learn.precomputed():
    found = learn.lr_find(show_plot=False)
    learn.fit_one_cycle(3, lr)
print(f"The rate finder suggests {found.valley:.1e}; this recipe uses {lr:.1e}.")

# 2. Look at the pictures: which are right, which wrong, of which is it sure, of which not?
learn.show_rights_and_wrongs()

# 3. The same head on pictures that look a little different each time: mirrored, turned, brighter.
#    Each cycle lets the rate fall from the full one to nothing and then starts again.
learn.fit_cycles(epochs, lr, small_first=progressive)

# 4. The whole network, in cycles of 1, 2 and 4 epochs. Early layers see edges and textures and need
#    little change, so they get a smaller rate than late ones. With --progressive the first epochs
#    see smaller pictures, which is quicker.
learn.unfreeze()
learn.keep_batch_norm()
learn.fit_cycles(3, slice(lr / 300, lr / 10), cycle_mult=2, small_first=progressive)

# 5. Look at each validation picture several times, slightly changed, and take the average.
preds, targets = learn.tta(beta=0.5)

# 6. What is taken for what, and where it is still wrong.
learn.show_confusion()
