import { headers } from 'next/headers'
import { tenantFromHost, tenantUrl } from '../lib/tenant'

export const metadata = { title: 'Not found · Leadboard' }

export default async function NotFound() {
  const host = (await headers()).get('host')
  const tenant = tenantFromHost(host)
  return (
    <main className="shell narrow">
      <header className="top">
        <p className="brand">Leadboard</p>
      </header>
      <h1>Nobody lives here</h1>
      <p className="lede">
        {tenant
          ? `There is no page here for “${tenant}”. Perhaps the name is misspelt, or the tenant is new on another branch.`
          : 'This address names no tenant. A tenant’s address looks like demodev.localhost.'}
      </p>
      <p className="links">
        <a href={tenantUrl('demodev', host)}>demodev.localhost</a>
        <a href={tenantUrl('acme', host)}>acme.localhost</a>
        <a href="/">All tenants</a>
      </p>
    </main>
  )
}
