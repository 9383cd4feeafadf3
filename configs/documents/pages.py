"""The last stage: crops as large as those that a job cuts pages into, so that all distances between patches are learnt."""

_base_ = ["./crops.py"]

side = 448
train_dataloader = dict(batch_size=2, dataset=dict(side=side, cells=side // 7, each=3, most=160, blanks=64))
optim_wrapper = dict(optimizer=dict(lr=3e-4))
package = dict(name="pages", description="TokenFD-like page encoder; trained on generated pages only")
