// Gets a token from the broker with Go's OAuth 2.0 library, unchanged, and prints it as JSON.
//
// Arguments: token URL, client id, client secret, org (empty where the URL's query has it), and "basic" or "form".
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

func main() {
	if len(os.Args) != 6 {
		fail(fmt.Errorf("want: token URL, client id, client secret, org, basic|form"))
	}
	style := oauth2.AuthStyleInHeader
	if os.Args[5] == "form" {
		style = oauth2.AuthStyleInParams
	}
	params := url.Values{}
	if os.Args[4] != "" {
		params.Set("org", os.Args[4])
	}
	config := clientcredentials.Config{
		TokenURL:       os.Args[1],
		ClientID:       os.Args[2],
		ClientSecret:   os.Args[3],
		EndpointParams: params,
		AuthStyle:      style,
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	token, err := config.Token(ctx)
	if err != nil {
		fail(err)
	}
	err = json.NewEncoder(os.Stdout).Encode(map[string]any{
		"access_token": token.AccessToken,
		"token_type":   token.TokenType,
		"expiry":       float64(token.Expiry.UnixMilli()) / 1000,
	})
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
