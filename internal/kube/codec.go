package kube

import (
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
)

// codec reads and writes objects as client-go does, and refuses answers that are not
// what was asked for: client-go takes what it does not understand for an empty object,
// and so for the news that nothing is there.
type codec struct {
	runtime.NegotiatedSerializer
	weigher *weigher
}

func newCodec(scheme *runtime.Scheme) codec {
	return codec{serializer.NewCodecFactory(scheme).WithoutConversion(), &weigher{scheme: scheme}}
}

// DecoderToVersion implements runtime.NegotiatedSerializer.
func (c codec) DecoderToVersion(d runtime.Decoder, _ runtime.GroupVersioner) runtime.Decoder {
	return wary{d, c.weigher}
}

// SupportedMediaTypes implements runtime.NegotiatedSerializer.
func (c codec) SupportedMediaTypes() []runtime.SerializerInfo {
	var types []runtime.SerializerInfo
	for _, info := range c.NegotiatedSerializer.SupportedMediaTypes() {
		if stream := info.StreamSerializer; stream != nil {
			info.StreamSerializer = &runtime.StreamSerializerInfo{
				EncodesAsText: stream.EncodesAsText, Serializer: stream.Serializer, Framer: boundedFramer{stream.Framer},
			}
		}
		types = append(types, info)
	}
	return types
}

type wary struct {
	runtime.Decoder
	weigher *weigher
}

// Decode implements runtime.Decoder. As everywhere in client-go, the kind of an object
// is known by its type and cleared in it.
func (d wary) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	if err := d.weigher.check(data, into); err != nil {
		return nil, nil, err
	}
	obj, gvk, err := d.Decoder.Decode(data, defaults, into)
	if err != nil || obj == nil {
		return obj, gvk, err
	}
	named := obj.GetObjectKind().GroupVersionKind().Kind
	obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	_, status := obj.(*metav1.Status)
	switch {
	case named == "" && blank(obj):
		return nil, gvk, errNoObject
	case into != nil && obj != into && !status:
		return nil, gvk, fmt.Errorf("the answer is a %s, which was not asked for", named)
	}
	return obj, gvk, nil
}

var errNoObject = errors.New("the answer is no object of Kubernetes")

// blank reports whether an object has nothing by which it could be told from none.
func blank(obj runtime.Object) bool {
	if list, err := meta.ListAccessor(obj); err == nil {
		return list.GetResourceVersion() == ""
	}
	one, err := meta.Accessor(obj)
	return err == nil && one.GetName() == "" && one.GetUID() == ""
}

// boundedFramer ends a watch with an event that is larger than any object.
type boundedFramer struct{ runtime.Framer }

// NewFrameReader implements runtime.Framer.
func (f boundedFramer) NewFrameReader(r io.ReadCloser) io.ReadCloser {
	b := &bounded{ReadCloser: r, took: func(int) {}}
	return &frames{ReadCloser: f.Framer.NewFrameReader(b), source: b}
}

type frames struct {
	io.ReadCloser
	source *bounded
	// inside says that the rest of a frame is to be read.
	inside bool
}

// Read reads one frame, or what the buffer holds of it.
func (f *frames) Read(p []byte) (int, error) {
	if !f.inside {
		f.source.left = maxAnswer
	}
	n, err := f.ReadCloser.Read(p)
	f.inside = errors.Is(err, io.ErrShortBuffer)
	return n, err
}

// maxAnswer bounds an answer and an event of a watch, in bytes as they are unpacked.
// etcd keeps 1.5 MiB of one object at most.
const maxAnswer = 2 << 20

// largeError is an answer that was not read to its end, or not decoded.
type largeError struct{ what string }

func (e *largeError) Error() string { return "the answer is too large: " + e.what }

// bounded reads so many bytes, and none beyond.
type bounded struct {
	io.ReadCloser
	left int
	// took is told how much was read.
	took func(int)
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, &largeError{what: "more than was asked for can have"}
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	b.took(n)
	return n, err
}
