module github.com/betawerk/pkb-go

go 1.26.0

require (
	github.com/google/go-cmp v0.7.0
	github.com/jarcoal/httpmock v1.4.2
	github.com/samply/golang-fhir-models/fhir-models v0.3.2
	golang.org/x/oauth2 v0.38.0
)

require golang.org/x/text v0.44.0
