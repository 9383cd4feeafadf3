"""The documents job: pages in, text masks and searchable tokens out. `gridscribe run documents --input ... --output ...`"""

job = "documents"

# A shipped model, a folder or a URI that holds a document package.
model = "pages"

# Pages are rendered at `dpi` dots per inch, which must suit the model; other limits: max_pixels, page_seconds, max_pages.
inputs = dict(dpi=150.0)

# Resolved once, when the job is planned: CUDA -> torch bfloat16, CPU -> OpenVINO.
engine = dict(name="auto")

# `before`: patches that the model's classifier takes for paper are never computed. What is stored of the others: what is text,
# `pruner=dict(method="text-prior", threshold=0.5)`, or any other method that works after the encoder. In the classifier's place:
# `patches=dict(method="pixelprune", tau=3)`; patches that pass layers by: `within=dict(keep=0.5)` (docs/pruning.md).
tokens = dict(before=True, kind="int8")

# A mask of its text for each page.
masks = True
