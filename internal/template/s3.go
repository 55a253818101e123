package template

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
)

// anyRegion is where S3 is asked if the environment names no region, as boto3 does.
const anyRegion = "us-east-1"

func (l *Loader) readS3(ctx context.Context, where location) ([]byte, error) {
	if err := where.checkObject(); err != nil {
		return nil, err
	}
	client, err := l.s3Client(ctx)
	if err != nil {
		return nil, &Error{Problem: "AWS configuration: " + err.Error(), Mend: "correct the AWS_ variables or files of the agent", cause: err}
	}
	text, err := getS3(ctx, client, where)
	if region := otherRegion(err); region != "" {
		text, err = getS3(ctx, client, where, func(o *s3.Options) { o.Region = region })
	}
	if err != nil {
		return nil, s3Error(err)
	}
	return text, nil
}

// s3Client is made once: it holds the credentials that it found.
func (l *Loader) s3Client(ctx context.Context) (*s3.Client, error) {
	l.clients.Lock()
	defer l.clients.Unlock()
	if l.s3 != nil {
		return l.s3, nil
	}
	client := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.Proxy = l.proxy
		if l.roots != nil {
			t.TLSClientConfig.RootCAs = l.roots.Clone() // the SDK adds AWS_CA_BUNDLE to them
		}
	})
	options := []func(*config.LoadOptions) error{config.WithDefaultRegion(anyRegion), config.WithLogger(logging.Nop{}), config.WithHTTPClient(client)}
	found, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, err
	}
	l.s3 = s3.NewFromConfig(found, func(o *s3.Options) {
		// What is no AWS has no name for each bucket.
		o.UsePathStyle = o.BaseEndpoint != nil
	})
	return l.s3, nil
}

func getS3(ctx context.Context, client *s3.Client, where location, options ...func(*s3.Options)) ([]byte, error) {
	object, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(where.host), Key: aws.String(where.key())}, options...)
	if err != nil {
		return nil, err
	}
	defer object.Body.Close() //nolint:errcheck // read only
	return readAll(object.Body)
}

// otherRegion is where S3 says that the bucket is. What is no AWS may only say that
// the region is wrong; boto3, which does not know AWS_REGION, would have named this one.
func otherRegion(err error) string {
	answer, ok := errors.AsType[*awshttp.ResponseError](err)
	if !ok || answer.Response == nil || answer.HTTPStatusCode() == http.StatusNotFound {
		return ""
	}
	region := answer.Response.Header.Get("X-Amz-Bucket-Region")
	if region == "" && codeOf(err) == "AuthorizationHeaderMalformed" {
		region = cmp.Or(os.Getenv("AWS_DEFAULT_REGION"), anyRegion)
	}
	return region
}

func codeOf(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

func s3Error(err error) error {
	if ours, ok := errors.AsType[*Error](err); ok {
		return ours
	}
	answer, answered := errors.AsType[*awshttp.ResponseError](err)
	if !answered || answer.Response == nil || answer.HTTPStatusCode() == 0 {
		return &Error{Problem: unanswered(err), Mend: "check the network, and that the agent has AWS credentials", cause: err, temporary: true}
	}
	e := statusError(answer.HTTPStatusCode())
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		e.Problem = "S3: " + api.ErrorCode() + ": " + strings.TrimSuffix(api.ErrorMessage(), ".")
	}
	switch codeOf(err) {
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken":
		e.Mend = "check the agent's AWS credentials"
	case "AccessDenied":
		e.Mend = "let the agent's AWS identity do s3:GetObject there"
	case "NoSuchKey", "NoSuchBucket":
		e.Mend = "check bucket and key"
	}
	e.cause = err
	return e
}

// unanswered says why there is no answer. What else the SDK says may hold the URL of
// a request, or what the credential_process gave.
func unanswered(err error) string {
	if _, sent := errors.AsType[*awshttp.ResponseError](err); sent {
		return "S3: " + inner(err).Error()
	}
	for next := err; next != nil; next = errors.Unwrap(next) {
		err = next
	}
	return "S3 cannot be read: " + err.Error()
}
