package api

import (
	"context"
	"net/url"

	"github.com/erlops/erlops/deployer/fleet"
)

// ListProviders implements [StrictServerInterface].
func (s *Server) ListProviders(ctx context.Context, _ ListProvidersRequestObject) (ListProvidersResponseObject, error) {
	providers, err := s.backend.Providers(ctx)
	return ListProviders200JSONResponse{Providers: list(providers)}, err
}

// GetProvider implements [StrictServerInterface].
func (s *Server) GetProvider(ctx context.Context, r GetProviderRequestObject) (GetProviderResponseObject, error) {
	p, err := s.backend.Provider(ctx, r.Ref)
	return GetProvider200JSONResponse(p), err
}

// AddProvider implements [StrictServerInterface].
func (s *Server) AddProvider(ctx context.Context, r AddProviderRequestObject) (AddProviderResponseObject, error) {
	var p fleet.Provider
	editProvider(&p, *r.Body)
	added, err := s.backend.AddProvider(ctx, p)
	if err != nil {
		return nil, err
	}
	return AddProvider201JSONResponse{
		Body: added, Headers: AddProvider201ResponseHeaders{Location: location("providers", added.ID)},
	}, nil
}

// ChangeProvider implements [StrictServerInterface].
func (s *Server) ChangeProvider(ctx context.Context, r ChangeProviderRequestObject) (ChangeProviderResponseObject, error) {
	p, err := s.backend.ChangeProvider(ctx, r.Ref, func(p *fleet.Provider) error {
		editProvider(p, *r.Body)
		return nil
	})
	return ChangeProvider200JSONResponse(p), err
}

// RemoveProvider implements [StrictServerInterface].
func (s *Server) RemoveProvider(ctx context.Context, r RemoveProviderRequestObject) (RemoveProviderResponseObject, error) {
	return RemoveProvider204Response{}, s.backend.RemoveProvider(ctx, r.Ref)
}

// location is the path of what was made, relative to the collection that it
// was posted to: so it is right behind any proxy.
func location(collection, id string) string { return collection + "/" + url.PathEscape(id) }

// editProvider makes a provider what a request says. Secrets that were read
// masked and are written back stay.
func editProvider(p *fleet.Provider, in fleet.ManifestProvider) {
	secrets := map[string]fleet.Secret{}
	for name, value := range in.Secrets {
		secrets[name] = fleet.Secret(value)
		if old, ok := p.Secrets[name]; ok && value == fleet.Masked {
			secrets[name] = old
		}
	}
	p.Name, p.Kind, p.Settings, p.Secrets = in.Name, in.Kind, in.Settings, secrets
	p.Servers = make([]fleet.Server, len(in.Servers))
	for i, server := range in.Servers {
		p.Servers[i] = fleet.Server(server)
	}
}
