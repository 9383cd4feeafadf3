"""One item in, committed objects out; plus planning, training and evaluation."""
