"""Networks, model packages and the engines that run them."""
