"""Reading Caffe networks: prototxt, caffemodel and the centres in ab."""
