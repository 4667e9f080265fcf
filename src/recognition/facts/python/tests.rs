//! Python sources, and their facts.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::recognition::facts::{ApplicationKind, PythonModule, VariableRead, settings as classes};

fn facts(source: &str) -> FileFacts {
    read(Path::new("backend/app/main.py"), source)
}

/// Returns `NAME` with `!` if required, `=default`, and `[]` for a list.
fn shown(read: &VariableRead) -> String {
    let required = if read.required { "!" } else { "" };
    let list = if read.list { "[]" } else { "" };
    let default = read.default.as_ref().map(|default| format!("={default}")).unwrap_or_default();
    format!("{}{required}{list}{default}", read.name)
}

fn variables(source: &str) -> Vec<String> {
    facts(source).reads.iter().map(shown).collect()
}

fn settings(source: &str) -> Vec<VariableRead> {
    classes::reads(&facts(source).classes)
}

fn fields(source: &str) -> Vec<String> {
    settings(source).iter().map(shown).collect()
}

fn module(source: &str) -> PythonModule {
    facts(source).module.unwrap_or_default()
}

/// Returns `NAME:KIND` for each application.
fn applications(source: &str) -> Vec<String> {
    let shown = |kind: &ApplicationKind| format!("{kind:?}");
    module(source).applications.iter().map(|found| format!("{}:{}", found.name, shown(&found.kind))).collect()
}

#[test]
fn every_way_to_read_the_environment_is_found() {
    for (source, expected) in [
        ("import os\nx = os.environ[\"A\"]\n", "A!"),
        ("import os\nx = os.environ.get('A')\n", "A"),
        ("import os\nx = os.environ.get('A', 'b')\n", "A=b"),
        ("import os\nx = os.getenv('A', default='b')\n", "A=b"),
        ("import os\nx = int(os.getenv('A', 8000))\n", "A=8000"),
        ("import os\nx = os.getenv('A') or 'b'\n", "A=b"),
        ("import os as o\nx = o.environ['A']\n", "A!"),
        ("from os import environ\nx = environ['A']\n", "A!"),
        ("from os import environ as env, getenv\nx = env.get('A')\n", "A"),
        ("from os import getenv\nx = getenv('A', 'b,c').split(',')\n", "A[]=b,c"),
        ("import os\nx = [y.strip() for y in os.getenv('A', 'b').split(',')]\n", "A[]=b"),
        ("import os\ntry:\n    x = os.environ['A']\nexcept KeyError:\n    x = ''\n", "A"),
        ("from starlette.config import Config\nc = Config('.env')\nx = c('A', default='b')\n", "A=b"),
        (
            "from starlette.config import Config\nc = Config()\nx = c('A', cast=CommaSeparatedStrings)\n",
            "A![]",
        ),
        ("from decouple import config\nx = config('A')\n", "A!"),
        ("from decouple import config as c\nx = c('A', default='b', cast=str)\n", "A=b"),
        ("from environs import Env\nenv = Env()\nx = env.str('A')\n", "A!"),
        ("from environs import Env\nenv = Env()\nx = env.list('A', ['b'])\n", "A[]=[\"b\"]"),
        ("import environ\nenv = environ.Env()\nx = env('A', default='b')\n", "A=b"),
        ("import os\ndef need(n):\n    return os.environ[n]\nx = need('A')\n", "A!"),
        ("import os\ndef get(n, d=None):\n    return os.getenv(n, d)\nx = get('A', 'b')\n", "A=b"),
        ("from app.utils.env import get_env\nx = field(default_factory=get_env('A', 'b'))\n", "A=b"),
        ("from app import utils\nx = utils.env_str('A')\n", "A"),
    ] {
        assert_eq!(variables(source), [expected], "{source}");
    }
}

#[test]
fn writing_a_variable_is_not_reading_it() {
    for source in [
        "os.environ['A'] = 'b'\n",
        "del os.environ['A']\n",
        "x = other['A']\n",
        "# os.environ['A']\n",
        "from app.utils import set_env, get_env\nset_env('A', 'b')\nget_env('jinja')\n",
    ] {
        assert_eq!(variables(&format!("import os\n{source}")), Vec::<String>::new(), "{source}");
    }
}

#[test]
fn a_variable_has_its_line() {
    let found = facts("import os\n\nx = os.getenv('A')\n");
    assert_eq!(
        (found.reads[0].at.file.as_path(), found.reads[0].at.line),
        (Path::new("backend/app/main.py"), 3)
    );
}

#[test]
fn fields_of_settings_are_variables_with_the_prefix_of_their_class() {
    let first = "class S(BaseSettings):\n    host: str\n    port: int = 5432\n    name: Optional[str]\n    class Config:\n        env_prefix = 'db_'\n        env_file = '.env'\n";
    assert_eq!(fields(first), ["DB_HOST!", "DB_PORT=5432", "DB_NAME"]);
    assert_eq!(facts(first).loads[0].file, ".env");
    let second = "class S(BaseSettings):\n    model_config = SettingsConfigDict(env_prefix='APP_', env_file=('.env', '.env.local'))\n    url: PostgresDsn\n    hosts: list[str] = ['a', 'b']\n    name: str | None\n";
    assert_eq!(fields(second), ["APP_URL!", "APP_HOSTS[]=[\"a\",\"b\"]", "APP_NAME!"]);
    assert_eq!(
        facts(second).loads.iter().map(|load| load.file.as_str()).collect::<Vec<_>>(),
        [".env", ".env.local"]
    );
    let sensitive = "class S(BaseSettings):\n    Url: str\n    model_config = {'case_sensitive': True}\n";
    assert_eq!(fields(sensitive), ["Url!"]);
    let argument = "class S(BaseSettings, env_prefix='X_'):\n    y: str\n";
    assert_eq!(fields(argument), ["X_Y!"]);
}

#[test]
fn aliases_replace_prefix_and_name() {
    let source = "class S(BaseSettings):\n    model_config = SettingsConfigDict(env_prefix='P_')\n    a: str = Field(alias='one')\n    b: str = Field(default='x', validation_alias=AliasChoices('TWO', 'DEUX'))\n    c: str = Field(..., env='THREE', min_length=32)\n    d: Annotated[str, Field(min_length=8)] = 'short'\n    e: list[str] = Field(default_factory=list)\n";
    let found = settings(source);
    assert_eq!(
        found.iter().map(shown).collect::<Vec<_>>(),
        ["ONE!", "TWO=x", "THREE!", "P_D=short", "P_E[]"]
    );
    assert_eq!(found[1].aliases, ["DEUX"]);
    assert_eq!((found[2].min_length, found[3].min_length), (Some(32), Some(8)));
}

#[test]
fn a_base_in_another_file_decides_prefix_and_fields() {
    let base = read(
        Path::new("app/base.py"),
        "class Base(BaseSettings):\n    model_config = SettingsConfigDict(env_prefix='X_')\n    mode: str = 'dev'\n",
    );
    let own = read(
        Path::new("app/settings.py"),
        "from .base import Base\nclass AppSettings(Base):\n    url: str\n",
    );
    let all: Vec<_> = base.classes.into_iter().chain(own.classes).collect();
    let names: Vec<String> = classes::reads(&all).iter().map(shown).collect();
    assert_eq!(names, ["X_MODE=dev", "X_URL!"]);
}

#[test]
fn nested_models_are_read_with_their_delimiter() {
    let source = "class Db(BaseModel):\n    host: str\n    port: int = 5432\nclass S(BaseSettings):\n    model_config = SettingsConfigDict(env_nested_delimiter='__')\n    db: Db\n";
    assert_eq!(fields(source), ["DB__HOST!", "DB__PORT=5432"]);
    let own = "class Db(BaseSettings):\n    url: str\nclass S(BaseSettings):\n    db: Db = Db()\n";
    assert_eq!(fields(own), ["URL!"]);
}

#[test]
fn placeholders_that_a_validator_refuses_are_known() {
    let template = r#"
class Settings(BaseSettings):
    SECRET_KEY: str = secrets.token_urlsafe(32)
    POSTGRES_PASSWORD: str = "changethis"
    PROJECT: str

    def _check_default_secret(self, var_name: str, value: str | None) -> None:
        if value == "changethis":
            message = "…"
            if self.ENVIRONMENT == "local":
                warnings.warn(message)
            else:
                raise ValueError(message)

    @model_validator(mode="after")
    def _enforce(self) -> Self:
        self._check_default_secret("SECRET_KEY", self.SECRET_KEY)
        self._check_default_secret("POSTGRES_PASSWORD", self.POSTGRES_PASSWORD)
        return self
"#;
    let refused: Vec<_> = settings(template).into_iter().map(|read| read.refused).collect();
    assert_eq!(refused, [vec!["changethis".to_string()], vec!["changethis".into()], vec![]]);

    let validator = "BAD = {'changeme', 'secret'}\nclass S(BaseSettings):\n    key: SecretStr\n    other: str\n    @field_validator('key')\n    @classmethod\n    def long(cls, v):\n        if len(v) < 32 or v in BAD:\n            raise ValueError('weak')\n        return v\n";
    let found = settings(validator);
    assert_eq!((found[0].min_length, found[0].refused.len()), (Some(32), 2));
    assert_eq!((found[1].min_length, found[1].refused.len()), (None, 0));

    let model = "class S(BaseSettings):\n    mode: str\n    jwt_secret: str\n    @model_validator(mode='after')\n    def check(self):\n        if self.mode == 'production' and self.jwt_secret == 'dev':\n            raise ValueError('x')\n        return self\n";
    let found = settings(model);
    assert_eq!((&found[0].refused, &found[1].refused), (&vec![], &vec!["dev".to_string()]));
}

#[test]
fn env_files_are_found_relative_to_the_code_and_to_the_process() {
    let loads = |source: &str| -> Vec<(String, bool)> {
        facts(source).loads.into_iter().map(|load| (load.file, load.from_code)).collect()
    };
    let load = |file: &str, from_code: bool| vec![(file.to_string(), from_code)];
    assert_eq!(loads("from dotenv import load_dotenv\nload_dotenv()\n"), load("", false));
    assert_eq!(
        loads("from dotenv import load_dotenv\nload_dotenv('.env.local')\n"),
        load(".env.local", false)
    );
    assert_eq!(
        loads(
            "from dotenv import load_dotenv\nfrom pathlib import Path\nload_dotenv(dotenv_path=Path(__file__).resolve().parent.parent / '.env')\n"
        ),
        load("backend/.env", true)
    );
    assert_eq!(
        loads(
            "BASE = Path(__file__).parents[2]\nclass S(BaseSettings):\n    model_config = SettingsConfigDict(env_file=str(BASE / '.env'))\n"
        ),
        load(".env", true)
    );
    assert_eq!(
        loads(
            "import os\nROOT = os.path.dirname(os.path.abspath(__file__))\nclass S(BaseSettings):\n    class Config:\n        env_file = os.path.join(ROOT, '..', '.env')\n"
        ),
        load("backend/.env", true)
    );
}

#[test]
fn applications_are_objects_factories_and_results_of_factories() {
    for (source, expected) in [
        ("from fastapi import FastAPI\napp = FastAPI()\n", vec!["app:Object"]),
        ("import fastapi\napi: fastapi.FastAPI = fastapi.FastAPI()\n", vec!["api:Object"]),
        ("from fastapi import FastAPI as F\napp = F()\n", vec!["app:Object"]),
        ("from fastapi import FastAPI\nif True:\n    app = FastAPI()\n", vec!["app:Object"]),
        ("from fastapi import FastAPI\nclass Api(FastAPI):\n    pass\napp = Api()\n", vec!["app:Object"]),
        ("from fastapi import FastAPI\ndef make() -> FastAPI:\n    return build()\n", vec!["make:Factory"]),
        ("from fastapi import FastAPI\ndef make():\n    return FastAPI()\n", vec!["make:Factory"]),
        (
            "from fastapi import FastAPI\ndef make():\n    a = FastAPI()\n    return a\napp = make()\n",
            vec!["app:Made(\"make\")", "make:Factory"],
        ),
        ("from .factory import create\n# FastAPI\napp = create()\n", vec!["app:Made(\"create\")"]),
        ("from fastapi import APIRouter\nr = APIRouter()\n", vec!["r:Router"]),
        ("from celery import Celery\nc = Celery('x')\n", vec!["c:Celery"]),
        ("from arq import cron\nclass WorkerSettings:\n    functions = [f]\n", vec!["WorkerSettings:Arq"]),
        ("import dramatiq\n@dramatiq.actor\ndef f(): ...\n", vec!["main:Dramatiq"]),
        ("from rq import Worker\nw = Worker(['default'])\n", vec!["w:Rq"]),
        ("SQLModel.metadata.create_all(engine)\n", vec!["SQLModel:CreateAll"]),
        (
            "async def up(c):\n    await c.run_sync(models.Base.metadata.create_all)\n",
            vec!["models.Base:CreateAll"],
        ),
        ("# FastAPI\n    \napp = Flask()\n", vec![]),
        ("from fastapi import FastAPI\ndef lifespan(app: FastAPI):\n    yield\n", vec![]),
    ] {
        assert_eq!(applications(source), expected, "{source}");
    }
    let tests = read(Path::new("tests/main.py"), "from fastapi import FastAPI\napp = FastAPI()\n");
    assert_eq!(tests, FileFacts::default());
}

#[test]
fn includes_mounts_and_factories_with_arguments_are_known() {
    let source = "from fastapi import FastAPI\nfrom .api import health, users\ndef add(app: FastAPI):\n    app.include_router(users.router, prefix='/users')\ndef create(settings) -> FastAPI:\n    app = FastAPI(openapi_url=None)\n    app.include_router(health.router)\n    app.include_router(x, prefix=settings.prefix)\n    add(app)\n    app.mount('/v1', inner)\n    return app\n";
    let found = module(source).applications;
    let includes: Vec<(&str, Option<&str>)> =
        found[0].includes.iter().map(|include| (include.name.as_str(), include.prefix.as_deref())).collect();
    assert_eq!(
        includes,
        [("health.router", Some("")), ("x", None), ("users.router", Some("/users")), ("inner", Some("/v1"))]
    );
    assert!(found[0].needs_arguments && found[0].hides_schema);
}

#[test]
fn routes_are_certain_only_with_a_literal_prefix() {
    let routes = |source: &str| module(&format!("from fastapi import FastAPI, APIRouter\n{source}")).routes;
    let route = |path: &str, object: &str| vec![(path.to_string(), object.to_string())];
    assert_eq!(routes("app = FastAPI()\n@app.get('/healthz')\ndef h(): ...\n"), route("/healthz", "app"));
    assert_eq!(routes("app = FastAPI()\napp.add_api_route('/healthz', h)\n"), route("/healthz", "app"));
    assert_eq!(
        routes("r = APIRouter(prefix='/api')\n@r.get('/healthz')\ndef h(): ...\n"),
        route("/api/healthz", "r")
    );
    assert_eq!(routes("r = APIRouter(prefix=P)\n@r.get('/healthz')\ndef h(): ...\n"), []);
    assert_eq!(routes("r = APIRouter()\n@r.post('/x')\ndef h(): ...\n"), []);
}

#[test]
fn imports_have_their_names() {
    let source = "from fastapi import FastAPI\nfrom .api.v1 import a as b, c\nimport app.core\nfrom . import d\nfrom x import *\napp = FastAPI()\n";
    let imports: Vec<(String, Vec<String>)> =
        module(source).imports.into_iter().skip(1).map(|import| (import.module, import.names)).collect();
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        imports,
        [
            (".api.v1".to_string(), names(&["a", "c"])),
            ("app.core".into(), vec![]),
            (".".into(), names(&["d"])),
            ("x".into(), names(&["*"])),
        ]
    );
}

#[test]
fn a_server_started_in_code_is_a_command() {
    let command = |source: &str| {
        let found = facts(source).commands;
        found.into_iter().map(|command| (command.text, command.directory)).next()
    };
    assert_eq!(
        command("import uvicorn\nuvicorn.run(app, host='0.0.0.0', port=8001)\n"),
        Some(("uvicorn main:app --port 8001".into(), Some("backend/app".into())))
    );
    assert_eq!(
        command(
            "import uvicorn\nuvicorn.run('app.main:create', factory=True, port=int(os.getenv('P', '9000')))\n"
        ),
        Some(("uvicorn app.main:create --factory --port 9000".into(), None))
    );
    // The name exists only while the function runs.
    let local = "import uvicorn\nfrom app import make\n\ndef run():\n    app = make()\n    uvicorn.run(app, port=5001)\n";
    assert_eq!(command(local), None);
}

#[test]
fn addresses_in_code_are_facts_unless_a_variable_can_change_them() {
    let found = |source: &str| -> Vec<(u16, bool)> {
        facts(source).addresses.into_iter().map(|address| (address.port, address.origin)).collect()
    };
    assert_eq!(found("API = 'http://localhost:8000'\n"), [(8000, false)]);
    assert_eq!(found("app.add_middleware(C, allow_origins=['http://localhost:3000'])\n"), [(3000, true)]);
    assert_eq!(
        found("origins = ['http://localhost:3000', 'http://localhost:5173']\n"),
        [(3000, true), (5173, true)]
    );
    assert_eq!(found("engine = create('postgresql://u:p@localhost/db')\n"), [(5432, false)]);
    assert_eq!(found("import os\nx = os.getenv('A', 'http://localhost:8000')\n"), []);
    assert_eq!(found("class S(BaseSettings):\n    x: str = 'http://localhost:8000'\n"), []);
    assert_eq!(found("print('http://localhost:8000')\n'''http://localhost:8000'''\n"), []);
    assert_eq!(found("x = 'see http://localhost:8000 for more'\n"), []);
}

#[test]
fn guards_outside_the_settings_class_say_which_secrets_the_code_refuses() {
    let found = |source: &str| -> Vec<(String, Option<usize>, Vec<String>)> {
        let reads = facts(source).reads.into_iter();
        reads.map(|read| (read.name, read.min_length, read.refused)).collect()
    };
    assert_eq!(
        found(
            "from app.config import settings\nif len(settings.secret_key.encode()) < 32:\n    raise ValueError('x')\n"
        ),
        [("SECRET_KEY".to_string(), Some(32), vec![])]
    );
    assert_eq!(
        found(
            "def check():\n    if get_settings().JWT_SECRET in ('changeme', 'x'):\n        raise RuntimeError\n"
        ),
        [("JWT_SECRET".to_string(), None, vec!["changeme".to_string(), "x".to_string()])]
    );
    for source in [
        "if len(settings.secret_key) < 32:\n    print('short')\n",
        "if settings.environment == 'test':\n    raise ValueError\n",
        "if user.token == 'x':\n    raise ValueError  # settings.\n",
    ] {
        assert_eq!(found(source), [], "{source}");
    }
}

#[test]
fn urls_of_a_postgres_that_code_connects_to_are_facts_unless_a_variable_can_change_them() {
    let found = |source: &str| facts(source).databases.len();
    assert_eq!(found("SQLALCHEMY_DATABASE_URL = 'postgresql+psycopg2://u:p@postgres:5432/app'\n"), 1);
    assert_eq!(found("engine = create_async_engine('postgresql+asyncpg://db/app')\n"), 1);
    assert_eq!(found("c = psycopg.connect(conninfo='postgres://u:p@10.0.0.3/app')\n"), 1);
    assert_eq!(
        found("_main_uri = 'u:p@localhost:5432/app'\nx = f'postgresql+asyncpg://{_main_uri}'  # postgres\n"),
        1
    );
    assert_eq!(found("class C:\n    def db_url(self):\n        return 'postgresql://u:p@db/app'\n"), 1);
    for source in [
        "import os\nURL = os.getenv('URL', 'postgresql://u:p@db/app')\n",
        "class S(BaseSettings):\n    url: str = 'postgresql://u:p@db/app'\n",
        "DATABASE_URL = f'postgresql://{user}@db/app'\n",
        "x = Field(example='postgresql://u:p@db/app')\n",
        "PREFIX_URL = 'postgresql+asyncpg://'\n",
        "message_url = 'postgresql://u:p@db/app is the form'\n",
    ] {
        assert_eq!(found(source), 0, "{source}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "(?s).{0,400}") {
        let _ = facts(&format!("FastAPI {text}"));
    }

    #[test]
    fn no_mixture_of_python_makes_the_reader_panic(
        words in proptest::collection::vec(
            prop::sample::select(vec![
                "class S(BaseSettings):", "\n", "    ", "x: str", "= Field(", "alias=", "os.environ", "[", "]", "(", ")",
                "'A'", "import os", "from os import", "environ", "app = FastAPI(", "def f(", "return ", ":", ",", "f'{x}'",
                "@app.get(", "**x", "raise ", "==", "uvicorn.run(", "\"\"\"", "lambda: ", "model_config = {", "}",
            ]),
            0..60,
        )
    ) {
        let source = words.join(" ");
        let found = facts(&format!("import os\n{source}"));
        let _ = classes::reads(&found.classes);
    }
}

#[test]
fn deeply_nested_code_is_read_without_exhausting_the_stack() {
    for (open, close) in [("(", ")"), ("f(", ")"), ("[", "]"), ("not ", ""), ("-", "")] {
        let source =
            format!("import os\nx = {}os.environ['A']{}\n", open.repeat(20_000), close.repeat(20_000));
        let _ = facts(&source);
    }
}

#[test]
fn port_of_a_postgres_in_the_settings_of_django_is_found() {
    let settings = |host: &str, port: &str| {
        format!(
            "from os import environ\nDATABASES = {{\n    \"default\": {{\n        \"ENGINE\": \"django.db.backends.postgresql\",\n        \
             \"HOST\": {host},\n        \"PORT\": {port},\n    }}\n}}\n"
        )
    };
    let found = |host: &str, port: &str| {
        let found = facts(&settings(host, port)).databases;
        found.into_iter().map(|found| (found.at.line, found.port)).collect::<Vec<_>>()
    };
    let host = "environ.get(\"DATABASE_HOST\", \"db\")";
    assert_eq!(
        found(host, "\"5432\""),
        [(6, Some((5432, "environ.get(\"DATABASE_PORT\", \"5432\")".to_string())))]
    );
    assert_eq!(
        found("\"localhost\"", "5433"),
        [(6, Some((5433, "os.environ.get(\"POSTGRES_PORT\", \"5433\")".to_string())))]
    );
    assert_eq!(found(host, "environ.get(\"DATABASE_PORT\", \"5432\")"), []);
    // An empty port is the default of libpq, which reads PGPORT.
    assert_eq!(found(host, "\"\""), []);
}
