"""Other colorization networks in PyTorch, with seeded weights: what people's ONNX files hold.

Written from the papers and the projects' published settings; layers, their order and sizes are the
projects', so that an export has the operators of a real file. The projects: richzhang/colorization
(BSD 2-Clause), piddnad/DDColor (Apache-2.0), jantic/DeOldify (MIT). Importing a module of it needs
PyTorch.
"""
