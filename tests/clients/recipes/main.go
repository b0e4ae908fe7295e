// Calls an API once for each line of standard input, with the transport of the recipe, and prints each status.
package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"

	"recipe/adobe"
)

func main() {
	client := &http.Client{Transport: &adobe.Transport{BrokerURL: os.Args[1], Org: os.Args[2], KeyFile: os.Args[3]}}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		resp, err := client.Get(os.Args[4])
		if err != nil {
			fmt.Println(err)
			continue
		}
		resp.Body.Close()
		fmt.Println(resp.StatusCode)
	}
}
