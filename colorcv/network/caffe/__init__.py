"""Import of Caffe networks: prototxt, caffemodel and the centres of the ab bins."""
