package openstack

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/erlops/erlops/deployer/provider"
)

// trimTokens takes away what old URLs have behind the version.
func trimTokens(url string) string {
	return strings.TrimSuffix(strings.TrimSuffix(url, "/"), "/tokens")
}

// response finds the answer in an error of the SDK, which wraps it in many
// ways.
func response(err error) (gophercloud.ErrUnexpectedResponseCode, bool) {
	var answer gophercloud.ErrUnexpectedResponseCode
	if errors.As(err, &answer) {
		return answer, true
	}
	var pointer *gophercloud.ErrUnexpectedResponseCode
	if errors.As(err, &pointer) {
		return *pointer, true
	}
	var unable *gophercloud.ErrUnableToReauthenticate
	if errors.As(err, &unable) {
		return response(unable.ErrReauth)
	}
	var after *gophercloud.ErrErrorAfterReauthentication
	if errors.As(err, &after) {
		return response(after.ErrOriginal)
	}
	return answer, false
}

func status(err error) int {
	answer, _ := response(err)
	return answer.Actual
}

func refused(err error) bool { return status(err) == http.StatusUnauthorized }

// isGone tells that there is no such thing any more.
func isGone(err error) bool { return status(err) == http.StatusNotFound }

// repeatable tells whether doing a call twice is as good as once. A rule that
// is there already is refused, which is then found to be what was wanted; of
// what is done with a server only its console is read so.
func repeatable(method, url string) bool {
	if method != http.MethodPost {
		return true
	}
	return slices.ContainsFunc([]string{"/tokens", "/security-group-rules", "/os-keypairs", "/action"}, func(end string) bool {
		return strings.HasSuffix(url, end)
	})
}

// passes tells whether the same call may succeed soon.
func passes(err error) bool {
	answer, ok := response(err)
	if !ok {
		return !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
	}
	switch answer.Actual {
	case http.StatusTooManyRequests, http.StatusRequestEntityTooLarge:
		return true
	}
	return answer.Actual >= http.StatusInternalServerError
}

func retryAfter(err error) time.Duration {
	answer, ok := response(err)
	if !ok || answer.ResponseHeader == nil {
		return 0
	}
	seconds, err := strconv.Atoi(answer.ResponseHeader.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// message is what the services say, each in a form of its own:
// {"badRequest": {"message": "…"}}, {"NeutronError": {"type": "…", "message": "…"}}.
func message(body []byte) (text, kind string) {
	var outer map[string]json.RawMessage
	if json.Unmarshal(body, &outer) == nil {
		for _, inner := range outer {
			var said struct{ Message, Type string }
			if json.Unmarshal(inner, &said) == nil && said.Message != "" {
				return withoutValue(said.Message), said.Type
			}
		}
	}
	return strings.TrimSpace(string(body[:min(len(body), 200)])), ""
}

// withoutValue cuts what Nova repeats of a request that it does not take: it may
// be user data with a key in it.
func withoutValue(said string) string {
	before, _, _ := strings.Cut(said, " Value: ")
	return before
}

// fail says what an error of the SDK means. An error that is one of a provider
// already, or of a context that was cancelled, stays itself.
func (p *Provider) fail(op string, err error) error {
	var own *provider.Error
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if errors.As(err, &own) {
		return &provider.Error{Provider: own.Provider, Op: op, Kind: own.Kind, Message: own.Message, RetryAfter: own.RetryAfter, Err: own.Err}
	}
	made := &provider.Error{Provider: p.record.Name, Op: op, RetryAfter: retryAfter(err), Err: err}
	answer, ok := response(err)
	if !ok {
		made.Kind, made.Message = provider.KindUnavailable, "the cloud does not answer; it is tried again"
		var dns *net.DNSError
		if errors.As(err, &dns) {
			made.Message = "the name " + dns.Name + " cannot be resolved: check auth_url and service_region"
		}
		return made
	}
	said, kind := message(answer.Body)
	made.Err = errors.New(answer.Method + " " + path(answer.URL) + ": " + strconv.Itoa(answer.Actual) + ": " + said)
	made.Kind, made.Message = meaning(answer.Actual, said, kind)
	return made
}

// path leaves the host and project out of a URL, which a user knows.
func path(url string) string {
	parts := strings.Split(strings.SplitN(url, "?", 2)[0], "/")
	return strings.Join(parts[max(0, len(parts)-2):], "/")
}

// meaning says what an answer is to a user.
func meaning(code int, said, kind string) (provider.ErrorKind, string) {
	low := strings.ToLower(said)
	switch {
	case code == http.StatusUnauthorized:
		return provider.KindAuth, "the cloud refused the credentials: check username, password and tenant_name"
	case kind == "OverQuota", strings.Contains(low, "quota"), strings.Contains(low, "maximum number of"):
		return provider.KindQuota, "a quota of the project is reached: delete what is not needed, or ask the cloud for more"
	case code == http.StatusForbidden:
		return provider.KindAuth, "the account may not do this: ask for a role that may"
	case strings.Contains(low, "multiple possible networks"):
		return provider.KindInvalid, "the project has several networks: name one in the setting network"
	case strings.Contains(low, "no more ip addresses"), strings.Contains(low, "no available floating ip"), kind == "IpAddressGenerationFailure":
		return provider.KindCapacity, "the network has no address left: use another one, or wait"
	case code == http.StatusConflict:
		return provider.KindConflict, "it is still in use, or in a state that passes"
	case code == http.StatusTooManyRequests, code == http.StatusRequestEntityTooLarge:
		return provider.KindThrottled, "the cloud gets too many requests from this account; it is tried again"
	case code == http.StatusNotFound:
		return provider.KindNotFound, "there is no such thing"
	case code >= http.StatusInternalServerError:
		return provider.KindUnavailable, "the cloud has trouble of its own; it is tried again"
	case strings.Contains(low, "image"):
		return provider.KindInvalid, "the cloud does not take the image: check image"
	case strings.Contains(low, "flavor"):
		return provider.KindInvalid, "the cloud does not take the flavour: check hardware"
	case strings.Contains(low, "network"):
		return provider.KindInvalid, "the cloud does not take the network: check network"
	case strings.Contains(low, "availability zone"):
		return provider.KindInvalid, "the cloud does not know the availability zone: check zone"
	case strings.Contains(low, "key_name"), strings.Contains(low, "keypair"), strings.Contains(low, "key pair"):
		return provider.KindNotFound, "the family's key pair is gone"
	case strings.Contains(low, "security group"), strings.Contains(low, "security_group"):
		return provider.KindNotFound, "the family's security group is gone"
	}
	return provider.KindInvalid, "the cloud refused the request"
}

// faultOf says in words why a server is in ERROR.
func faultOf(said string) string {
	said = strings.TrimSpace(said)
	low := strings.ToLower(said)
	switch {
	case said == "":
		return "the cloud could not make it, and does not say why"
	case strings.Contains(low, "no valid host"):
		return "the cloud has no host with room for this flavour now; use another flavour or zone, or wait (" + said + ")"
	case strings.Contains(low, "quota"):
		return "a quota of the project is reached (" + said + ")"
	}
	return "the cloud could not make it (" + said + ")"
}
