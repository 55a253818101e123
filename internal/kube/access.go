package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/gentype"
	"k8s.io/client-go/rest"
)

// Access is one verb on one resource of a namespace.
type Access struct {
	Namespace string
	// Group and Resource name the kind of object, such as batch and jobs; a
	// subresource stands behind a slash. Group is empty for core.
	Group, Resource string
	Verb            string
	// Name is the only object that is meant, empty for all of the namespace.
	Name string
}

// Allowed asks the API server whether our credential may do something. An error
// means that this is not known; the API server may refuse the question itself.
func (c *Client) Allowed(ctx context.Context, a Access) (bool, error) {
	resource, subresource, _ := strings.Cut(a.Resource, "/")
	reviews := gentype.NewClient("selfsubjectaccessreviews", c.access, c.codec, "", func() *authorizationv1.SelfSubjectAccessReview {
		return &authorizationv1.SelfSubjectAccessReview{}
	})
	question := &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: a.Namespace, Verb: a.Verb, Group: a.Group, Resource: resource, Subresource: subresource, Name: a.Name,
		}},
	}
	review, err := within(ctx, c.asker, func(ctx context.Context) (*authorizationv1.SelfSubjectAccessReview, error) {
		return reviews.Create(ctx, question, metav1.CreateOptions{})
	})
	if err != nil {
		return false, fail(err, "review", a.Verb+" "+a.Resource, a.Namespace, "")
	}
	// Such a request is answered with 500, not 403 (k8s.io/apiserver
	// endpoints/filters/authorization.go).
	if s := review.Status; !s.Allowed && s.EvaluationError != "" {
		return false, fail(errors.New(s.EvaluationError), "review", a.Verb+" "+a.Resource, a.Namespace, "")
	}
	return review.Status.Allowed, nil
}

// Address is that of the API server for messages, without the password that a
// kubeconfig may have in it.
func (c *Client) Address() string {
	return strings.TrimSuffix(c.core.Get().AbsPath("").URL().Redacted(), "/")
}

func (c *Client) raw(ctx context.Context, request *rest.Request) ([]byte, error) {
	data, err := within(ctx, c.asker, func(ctx context.Context) ([]byte, error) { return request.Do(ctx).Raw() })
	if err == nil {
		err = c.weigher.check(data, nil)
	}
	return data, err
}

// Version is what the API server says it is, such as v1.33.1.
func (c *Client) Version(ctx context.Context) (string, error) {
	data, err := c.raw(ctx, c.core.Get().AbsPath("/version").SetHeader("Accept", "application/json"))
	if err != nil {
		return "", &Error{Op: "ask " + c.Address() + " for its version", Mend: mend(err, "get", "/version", ""), Err: err}
	}
	var version struct {
		GitVersion string `json:"gitVersion"`
	}
	if err := json.Unmarshal(data, &version); err != nil || version.GitVersion == "" {
		return "", fmt.Errorf("%s answers, but not as an API server does: check the address", c.Address())
	}
	return version.GitVersion, nil
}

// partial asks for the metadata of an object alone, so that no Secret is sent.
const partial = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

// Metadata reads the metadata of one core object, such as one of secrets. The namespace is empty for namespaces.
func (c *Client) Metadata(ctx context.Context, resource, namespace, name string) (*metav1.ObjectMeta, error) {
	data, err := c.raw(ctx, c.core.Get().NamespaceIfScoped(namespace, namespace != "").Resource(resource).Name(name).SetHeader("Accept", partial))
	if err != nil {
		return nil, fail(err, "get", resource, namespace, name)
	}
	var object metav1.PartialObjectMetadata
	err = json.Unmarshal(data, &object)
	if err == nil && object.Kind == "" && object.Name == "" && object.DeletionTimestamp == nil {
		err = errNoObject
	}
	if err != nil {
		return nil, fail(err, "get", resource, namespace, name)
	}
	return &object.ObjectMeta, nil
}
