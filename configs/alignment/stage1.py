"""FarSLIP's first stage: whole views against captions, and patch-to-patch distillation of random crops.

One crop of each view, where FarSLIP has four: on two cores a view with four crops costs five.
"""

_base_ = ["./_base_/tiny.py", "./_base_/schedule.py"]

custom_imports = dict(imports=["gridscribe.models.clip.aligner", "gridscribe.pipelines.alignment.dataset"])
model = dict(
    type="Aligner",
    architecture={{_base_.architecture}},
    mean=(0.44, 0.44, 0.41),
    std=(0.2, 0.2, 0.19),
    weights=dict(contrast=1.0, distil=0.1),
    variant="maskclip",
)
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="InfiniteSampler", shuffle=False),
    collate_fn=dict(type="collate_views", context={{_base_.context}}),
    dataset=dict(type="AlignmentViews", data_root="scenes", side={{_base_.side}}, crops="random", count=1),
)
optim_wrapper = dict(optimizer=dict(lr=3e-4))
package = dict(
    name="align-stage1", description="CLIP of RGB and words, FarSLIP's first stage; trained on generated scenes only"
)
