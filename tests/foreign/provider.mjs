// npm's oidc-provider on a free loopback port, for `node provider.mjs CLIENT_ID CLIENT_SECRET REDIRECT_URI`.
// Prints its issuer; ends when its input does. Whoever signs in is who they say; of some there is more to say.
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [clientId, clientSecret, redirectUri] = process.argv.slice(2);
const people = {
  alice: { email: 'alice@example.com', email_verified: true, preferred_username: 'Alice', groups: ['support', 'chess'] },
  bob: { email: 'bob@example.com', email_verified: false, preferred_username: 'bob', groups: ['chess'] },
};
const configuration = {
  clients: [{ client_id: clientId, client_secret: clientSecret, redirect_uris: [redirectUri] }],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['preferred_username'], groups: ['groups'] },
  scopes: ['openid', 'email', 'profile', 'groups'],
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id, ...people[id] }) }),
};

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  server.on('request', new Provider(issuer, configuration).callback());
  console.log(issuer);
});
process.stdin.resume().on('end', () => process.exit());
