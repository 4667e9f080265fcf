// The tenant is the first label of the Host header: demodev.localhost:3147 -> demodev.
// The pattern covers the whole value: a.b.localhost and demodev.localhost.example.com have no tenant.
const TENANT_HOST = /^([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)\.localhost(?::\d{1,5})?$/i

export function tenantFromHost(host) {
  return TENANT_HOST.exec(host ?? '')?.[1].toLowerCase() ?? null
}

export function tenantUrl(slug, host) {
  const port = /:\d{1,5}$/.exec(host ?? '')?.[0] ?? ''
  return `http://${slug}.localhost${port}/admin/leads`
}
