package nsexec

import "slices"

// caVariables are where programs look for the authorities that they trust:
// OpenSSL, Go and Python; curl and Python's requests, which prefer their own; Node.
var caVariables = []string{"WSLAB_CA_FILE", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"}

// TrustVariables are the variables of the environment in which programs look for the
// file with the certificate authorities that they trust.
func TrustVariables() []string { return slices.Clone(caVariables) }
