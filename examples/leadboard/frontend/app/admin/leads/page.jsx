import { headers } from 'next/headers'
import { notFound } from 'next/navigation'
import { askApi, problemOf, STARTUP_WAIT_MS } from '../../../lib/api'
import { tenantFromHost } from '../../../lib/tenant'
import LeadsBoard from './leads-board'

export async function generateMetadata() {
  const tenant = tenantFromHost((await headers()).get('host'))
  return { title: tenant ? `Leads of ${tenant} · Leadboard` : 'Leadboard' }
}

export default async function LeadsPage() {
  const tenant = tenantFromHost((await headers()).get('host'))
  if (!tenant) notFound()

  const [answer, whoami] = await Promise.all([
    askApi(`/leads?tenant=${encodeURIComponent(tenant)}`, { waitMs: STARTUP_WAIT_MS }),
    askApi('/whoami', { waitMs: STARTUP_WAIT_MS }),
  ])
  if (answer.status === 404) notFound()

  return (
    <LeadsBoard
      slug={tenant}
      initialBoard={answer.ok ? answer.body : null}
      initialProblem={problemOf(answer)}
      initialDatabase={whoami.body?.database ?? null}
      branch={process.env.DEVRUN_BRANCH ?? null}
      worktree={process.env.DEVRUN_WORKTREE ?? null}
    />
  )
}
