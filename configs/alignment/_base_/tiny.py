"""Towers of a few million weights: an image tower of ViT-Ti's width, and a text tower narrow enough that its 49,408 words, which
are most of its weights, fit beside it.
"""

side = 128
context = 48
architecture = dict(
    embed_dim=128,
    quick_gelu=False,
    vision_cfg=dict(image_size=side, layers=6, width=192, head_width=64, patch_size=16, mlp_ratio=4.0, no_ln_pre=False),
    text_cfg=dict(context_length=context, vocab_size=49408, width=128, heads=2, layers=3, mlp_ratio=4.0),
)
package = dict(gsd=(0.15, 0.45))  # of what the towers see: views of 96 to 288 px at 0.2 m, brought to 128
