"""The GAMUS classes, in the order of the label rasters: the names and colours of masks."""

classes = ("other", "ground", "low vegetation", "building", "water", "road", "tree")
palette = (
    (176, 60, 190),
    (206, 184, 146),
    (150, 214, 96),
    (226, 62, 50),
    (44, 112, 220),
    (96, 98, 108),
    (22, 116, 48),
)
num_classes = 7
