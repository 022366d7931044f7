// npm's oauth4webapi goes through every grant and endpoint of an authorization server, and says what it came to.
// Its argument is a JSON object; it prints the address to open in a browser, reads the one that this leads to from its
// standard input, and prints what it found as a JSON object.
import { text } from 'node:stream/consumers'
import * as oauth from 'oauth4webapi'

const { issuer, resource, redirectUri, scope, client, server, robot } = JSON.parse(process.argv[2])
const http = { [oauth.allowInsecureRequests]: true } // on loopback
const name = { client_id: client.id }
const proof = oauth.ClientSecretBasic(client.secret)
const found = {}

const as = await oauth.processDiscoveryResponse(
  new URL(issuer),
  await oauth.discoveryRequest(new URL(issuer), { algorithm: 'oauth2', ...http }),
)

const verifier = oauth.generateRandomCodeVerifier()
const state = oauth.generateRandomState()
const authorization = new URL(as.authorization_endpoint)
authorization.search = new URLSearchParams({
  response_type: 'code',
  client_id: client.id,
  redirect_uri: redirectUri,
  scope,
  resource,
  state,
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  code_challenge_method: 'S256',
})
console.log(authorization.href)
const answer = new URL(await text(process.stdin))

// Because the metadata says that `iss` is sent, an answer without it or with another's is refused (RFC 9207).
found.refused = ['', 'https://evil.example'].map((iss) => {
  const bent = new URL(answer)
  if (iss) bent.searchParams.set('iss', iss)
  else bent.searchParams.delete('iss')
  try {
    oauth.validateAuthResponse(as, name, bent, state)
    return 'accepted'
  } catch (error) {
    return error.code
  }
})

const parameters = oauth.validateAuthResponse(as, name, answer, state)
const tokens = await oauth.processAuthorizationCodeResponse(
  as,
  name,
  await oauth.authorizationCodeGrantRequest(as, name, proof, parameters, redirectUri, verifier, http),
)

// As a resource server does that reads tokens itself (RFC 9068), by the published keys.
async function claims(token) {
  const request = new Request(resource, { headers: { authorization: `Bearer ${token}` } })
  return oauth.validateJwtAccessToken(as, request, resource, http)
}

// As one does that asks (RFC 7662).
async function told(token) {
  const asker = { client_id: server.id }
  const secret = oauth.ClientSecretBasic(server.secret)
  return oauth.processIntrospectionResponse(as, asker, await oauth.introspectionRequest(as, asker, secret, token, http))
}

found.user = (await claims(tokens.access_token)).sub
found.told = (await told(tokens.access_token)).sub

const again = await oauth.processRefreshTokenResponse(
  as,
  name,
  await oauth.refreshTokenGrantRequest(as, name, proof, tokens.refresh_token, http),
)
found.rotated = again.refresh_token !== tokens.refresh_token
found.active = [(await told(again.access_token)).active]
await oauth.processRevocationResponse(await oauth.revocationRequest(as, name, proof, again.refresh_token, http))
found.active.push((await told(again.access_token)).active)

// A robot proves itself by its key (RFC 7523), and acts for itself.
const key = await crypto.subtle.importKey('jwk', robot.key, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])
const itself = { client_id: robot.id }
const granted = await oauth.processClientCredentialsResponse(
  as,
  itself,
  await oauth.clientCredentialsGrantRequest(
    as,
    itself,
    oauth.PrivateKeyJwt({ key, kid: robot.key.kid }),
    { scope, resource },
    http,
  ),
)
found.robot = (await claims(granted.access_token)).sub === robot.id
console.log(JSON.stringify(found))
