"""The document encoder from random weights, on small crops: a quarter of what it is asked for later, so that more are seen.

TokenFD has 448 px tiles of patches of 14 px and 4 x finer cells at 1024 channels; here cells are 2 x finer (7 px, half a line of
print at 150 dots per inch, about what TokenFD gives a page in twelve tiles), and all is narrow enough to be trained on two cores.
"""

_base_ = ["./_base_/schedule.py"]

side = 224
architecture = dict(
    patch=14, stem_width=512, width=192, layers=6, heads=6, mlp_ratio=4.0, doublings=1, head_width=128, embed_dim=64
)

custom_imports = dict(imports=["gridscribe.models.document.aligner", "gridscribe.pipelines.documents.page_crops_data"])
model = dict(
    type="PageAligner",
    architecture=architecture,
    mean=(0.9, 0.9, 0.9),
    std=(0.25, 0.25, 0.25),
    weights=dict(distance=0.1, similarity=1.0, sigmoid=1.0, characters=1.0),
    buckets=16384,
)
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="InfiniteSampler", shuffle=False),
    collate_fn=dict(type="collate_pages"),
    dataset=dict(type="PageCrops", data_root="pages", side=side, cells=side // 7, dpi=150.0, each=6, least_dpi=90.0),
)
package = dict(
    name="pages-crops",
    description="TokenFD-like page encoder, first stage; trained on generated pages only",
    crop=448,
)
