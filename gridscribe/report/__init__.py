"""One HTML file about a product and its jobs: what ran, what became of every input, how fast, and what was found.

`accounts`, `tally` and `pace` gather facts from what lies under an output; `markup`, `charts` and `style` write them down, `page`
puts the file together. Pictures are drawn by who may read inputs (`gridscribe.workers.report_pictures`) and handed in.
"""
