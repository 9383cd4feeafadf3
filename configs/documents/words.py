"""After `crops`: the same on pages of many more words and faces, from the weights that it left."""

_base_ = ["./crops.py"]

optim_wrapper = dict(optimizer=dict(lr=8e-4))
package = dict(
    name="pages-words", description="TokenFD-like page encoder, second stage; trained on generated pages only"
)
