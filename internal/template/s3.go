package template

import (
	"context"
	"errors"
	"net/http"

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
	if err != nil && ctx.Err() == nil {
		return nil, s3Error(err)
	}
	return text, err
}

// s3Client is made once: it holds the credentials that it found.
func (l *Loader) s3Client(ctx context.Context) (*s3.Client, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.s3 != nil {
		return l.s3, nil
	}
	found, err := config.LoadDefaultConfig(ctx, config.WithDefaultRegion(anyRegion), config.WithLogger(logging.Nop{}))
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

// otherRegion is where S3 says that the bucket is.
func otherRegion(err error) string {
	if answer, ok := errors.AsType[*awshttp.ResponseError](err); ok && answer.Response != nil && answer.HTTPStatusCode() != http.StatusNotFound {
		return answer.Response.Header.Get("X-Amz-Bucket-Region")
	}
	return ""
}

func s3Error(err error) error {
	if ours, ok := errors.AsType[*Error](err); ok {
		return ours
	}
	answer, answered := errors.AsType[*awshttp.ResponseError](err)
	if !answered || answer.Response == nil {
		// Without an answer it is the network or the credentials, and the SDK
		// says which at the end of the chain.
		return &Error{Problem: "S3: " + last(err).Error(), Mend: "check the network, and that the agent has AWS credentials", cause: err, temporary: true}
	}
	e, _ := errors.AsType[*Error](statusError(answer.HTTPStatusCode()))
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		e.Problem = "S3: " + api.ErrorCode() + ": " + api.ErrorMessage()
	}
	switch answer.HTTPStatusCode() {
	case http.StatusForbidden:
		e.Mend = "let the agent's AWS identity do s3:GetObject there"
	case http.StatusNotFound:
		e.Mend = "check bucket and key"
	}
	e.cause = err
	return e
}

// last is the innermost error, without the URL of its request.
func last(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}
