import { headers } from 'next/headers'
import { askApi, problemOf, STARTUP_WAIT_MS } from '../lib/api'
import { tenantUrl } from '../lib/tenant'
import ServedFrom from './served-from'

export default async function Home() {
  const host = (await headers()).get('host')
  const [tenants, whoami] = await Promise.all([
    askApi('/tenants', { waitMs: STARTUP_WAIT_MS }),
    askApi('/whoami', { waitMs: STARTUP_WAIT_MS }),
  ])
  const problem = problemOf(tenants)

  return (
    <main className="shell narrow">
      <header className="top">
        <p className="brand">Leadboard</p>
      </header>
      <h1>Choose a tenant</h1>
      <p className="lede">Every tenant has its own address. The first label of the host name says whose leads you see.</p>
      {problem && (
        <div className="notice" role="status">
          <strong>{problem.title}</strong>
          <span>{problem.detail} Reload in a moment.</span>
        </div>
      )}
      <ul className="tenants">
        {(tenants.body?.tenants ?? []).map(({ slug, name, leads }) => (
          <li key={slug}>
            <a className="card tenant" href={tenantUrl(slug, host)}>
              <span className="avatar" aria-hidden="true">{name[0]}</span>
              <span>
                <strong>{name}</strong>
                <small>{slug}.localhost</small>
              </span>
              <span className="count">{leads} leads</span>
            </a>
          </li>
        ))}
      </ul>
      <ServedFrom
        branch={process.env.DEVRUN_BRANCH}
        worktree={process.env.DEVRUN_WORKTREE}
        database={whoami.body?.database}
      />
    </main>
  )
}
