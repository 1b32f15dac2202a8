package ec2

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/erlops/erlops/deployer/provider"
)

// meaning is what an error code of EC2 is to a user.
type meaning struct {
	kind    provider.ErrorKind
	message string
}

// codes are the error codes with a meaning of their own. EC2 says the rest in
// its own message.
var codes = map[string]meaning{
	"AuthFailure":                        {provider.KindAuth, "EC2 refused the credentials: check username (the access key), password (the secret key) and region"},
	"InvalidClientTokenId":               {provider.KindAuth, "EC2 does not know the access key: check username"},
	"SignatureDoesNotMatch":              {provider.KindAuth, "EC2 refused the secret key: check password"},
	"ExpiredToken":                       {provider.KindAuth, "the session of the credentials has ended: get new ones"},
	"RequestExpired":                     {provider.KindAuth, "EC2 refused the time of the request: set this machine's clock"},
	"UnauthorizedOperation":              {provider.KindAuth, "the account may not do this: add it to the policy of the user or role"},
	"OptInRequired":                      {provider.KindAuth, "the account is not subscribed to EC2 in this region: see the AWS console"},
	"PendingVerification":                {provider.KindAuth, "AWS is still verifying the account in this region: wait for its mail"},
	"Blocked":                            {provider.KindAuth, "AWS has blocked the account: see the AWS console"},
	"InstanceLimitExceeded":              {provider.KindQuota, "the account's limit of machines in this region is reached: delete machines, ask AWS for more in Service Quotas, or use another region"},
	"VcpuLimitExceeded":                  {provider.KindQuota, "the account's limit of virtual CPUs for this family of instance types is reached: delete machines, ask AWS for more in Service Quotas, or use another hardware"},
	"MaxSpotInstanceCountExceeded":       {provider.KindQuota, "the account's limit of spot machines is reached: ask AWS for more in Service Quotas, or set spot=false"},
	"SecurityGroupLimitExceeded":         {provider.KindQuota, "the account's limit of security groups is reached: remove some, or ask AWS for more"},
	"RulesPerSecurityGroupLimitExceeded": {provider.KindQuota, "the family has more firewall rules than a security group takes: join port ranges, or name fewer networks in allow_from"},
	"KeyPairLimitExceeded":               {provider.KindQuota, "the account's limit of key pairs is reached: remove some"},
	"VolumeLimitExceeded":                {provider.KindQuota, "the account's limit of volumes is reached: remove some, or ask AWS for more"},
	"AddressLimitExceeded":               {provider.KindQuota, "the account's limit of addresses is reached: release some, or ask AWS for more"},
	"InsufficientInstanceCapacity":       {provider.KindCapacity, "EC2 has no machine of this hardware left there now: use another zone or hardware, or wait"},
	"InsufficientHostCapacity":           {provider.KindCapacity, "EC2 has no machine of this hardware left there now: use another zone or hardware, or wait"},
	"InsufficientAddressCapacity":        {provider.KindCapacity, "EC2 has no public address left there now: use another zone, or wait"},
	"InsufficientFreeAddressesInSubnet":  {provider.KindCapacity, "the subnet has no address left: use another one, or delete machines in it"},
	"SpotMaxPriceTooLow":                 {provider.KindCapacity, "the price of spot machines is above spot_max_price: raise it, wait, or set spot=false"},
	"RequestLimitExceeded":               {provider.KindThrottled, "EC2 gets too many requests from this account; it is tried again"},
	"Throttling":                         {provider.KindThrottled, "EC2 gets too many requests from this account; it is tried again"},
	"ThrottlingException":                {provider.KindThrottled, "EC2 gets too many requests from this account; it is tried again"},
	"InvalidAMIID.NotFound":              {provider.KindInvalid, "there is no such image in this region: check image, which is another in each region"},
	"InvalidAMIID.Malformed":             {provider.KindInvalid, "the image is no AMI id such as ami-0cdf4965: check image"},
	"InvalidAMIID.Unavailable":           {provider.KindInvalid, "the image is not usable any more: check image"},
	"InvalidSubnetID.NotFound":           {provider.KindInvalid, "there is no such subnet in this region: check subnet"},
	"VPCIdNotSpecified":                  {provider.KindInvalid, "the account has no default VPC in this region: name a subnet"},
	"Unsupported":                        {provider.KindInvalid, "this hardware is not to be had with that image in that zone: check hardware, image and zone"},
	"InvalidKey.Format":                  {provider.KindInvalid, "EC2 does not take the deployer's SSH key: use an ed25519 or RSA one"},
	"InvalidKeyPair.NotFound":            {provider.KindNotFound, "the family's key pair is gone"},
	"InvalidGroup.NotFound":              {provider.KindNotFound, "the family's security group is gone"},
	"InvalidGroupId.NotFound":            {provider.KindNotFound, "the family's security group is gone"},
	"InvalidInstanceID.NotFound":         {provider.KindNotFound, "there is no such machine"},
	"InvalidInstanceID.Malformed":        {provider.KindNotFound, "there is no such machine"},
	"InvalidVolume.NotFound":             {provider.KindNotFound, "there is no such volume"},
	"IdempotentParameterMismatch":        {provider.KindMismatch, "the same request was made with other parameters"},
	"IdempotentInstanceTerminated":       {provider.KindMismatch, "the machine of the same request is gone"},
	"DependencyViolation":                {provider.KindConflict, "it is still used by a machine"},
	"InvalidGroup.InUse":                 {provider.KindConflict, "it is still used by a machine"},
	"VolumeInUse":                        {provider.KindConflict, "it is still used by a machine"},
	"IncorrectState":                     {provider.KindConflict, "it is in a state that passes"},
	"IncorrectInstanceState":             {provider.KindConflict, "the machine is in a state that passes"},
	"ResourceCountExceeded":              {provider.KindQuota, "a limit of the account is reached"},
	"OperationNotPermitted":              {provider.KindInvalid, "the machine is protected against termination: take that away in the AWS console"},
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
	found := p.meaning(err)
	return &provider.Error{Provider: p.record.Name, Op: op, Kind: found.kind, Message: found.message, Err: cause(err)}
}

func (p *Provider) meaning(err error) meaning {
	var api smithy.APIError
	var response *awshttp.ResponseError
	var dns *net.DNSError
	switch {
	case errors.As(err, &api):
		code := strings.TrimPrefix(strings.TrimPrefix(api.ErrorCode(), "Server."), "Client.")
		if known, ok := codes[code]; ok {
			return known
		}
		if errors.As(err, &response) && response.HTTPStatusCode() >= http.StatusInternalServerError || api.ErrorFault() == smithy.FaultServer {
			return meaning{provider.KindUnavailable, "EC2 has trouble of its own; it is tried again"}
		}
		if strings.HasSuffix(code, "LimitExceeded") {
			return meaning{provider.KindQuota, "a limit of the account is reached: ask AWS for more in Service Quotas"}
		}
		return meaning{provider.KindInvalid, "EC2 refused the request"}
	case errors.As(err, &dns):
		return meaning{provider.KindUnavailable, "there is no EC2 in region " + p.region + ", or this machine cannot resolve names: check region and endpoint"}
	case strings.Contains(err.Error(), "get credentials"), strings.Contains(err.Error(), "failed to refresh cached credentials"):
		return meaning{provider.KindAuth, "there are no credentials: give username (the access key) and password (the secret key), a profile, or a role to this machine"}
	}
	return meaning{provider.KindUnavailable, "EC2 does not answer; it is tried again"}
}

// cause is the part of an error that a user can do something with: the SDK puts
// five others around it.
func cause(err error) error {
	var api smithy.APIError
	if errors.As(err, &api) {
		return errors.New(api.ErrorCode() + ": " + api.ErrorMessage())
	}
	return err
}

// hasCode tells whether an error is one of those.
func hasCode(err error, wanted ...string) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	for _, code := range wanted {
		if api.ErrorCode() == code {
			return true
		}
	}
	return false
}
