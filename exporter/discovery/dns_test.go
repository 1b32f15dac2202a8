package discovery

const dnsChildEnv = "ERLOPS_TEST_DNS_CHILD"
