"""The raster job: RGB + height tiles in, class masks out. `gridscribe run raster --input ... --output ...`"""

job = "raster"

# A shipped model, a folder or a URI (s3://bucket/model) that holds model.json and model.safetensors.
model = "scenes"

# How inputs are read. Non-uint8 imagery needs `scale`: the range of values that becomes 0..255.
inputs = dict()

# Resolved once, when the job is planned: CUDA -> torch bfloat16, CPU -> OpenVINO.
engine = dict(name="auto")

# Connected areas of one class over each whole image, as polygons with statistics. `regions=None` leaves them out; a job
# without them has the same masks, and a later run with them adds them.
regions = dict(min_pixels=16)  # smaller areas are no regions

# A model that puts images and words into one space: a shipped one, a folder or a URI of an alignment package. Regions get labels
# from a text file of concepts, and a vector: of the square around each ("crop"), of that and its tokens under the region's own
# pixels ("inside"), of the image's stored tokens there ("tokens"), or of square and stored tokens ("both").
# `alignment=None`: no embeddings, and no queries by words.
alignment = dict(model="align", regions="inside", concepts="scenes", labels=5)

# The dense tokens of images, merged to a quarter (`pruner=dict(method="ward", keep=0.25)`); `tokens=None`: they are not stored.
tokens = dict(kind="int8")
