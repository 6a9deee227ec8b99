"""Other colorization networks in PyTorch, with seeded weights: what people's ONNX files hold.

Written from the papers and the projects' published settings; layers, their order and sizes are the
projects', so that an export has the operators of a real file. Importing a module needs PyTorch.
"""
