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
