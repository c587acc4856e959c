//! The stand-ins for Stripe, Horizon, TFChain, SendGrid and Twilio: binaries of this workspace, beside ours.

use crate::child::Launch;
use crate::market::{self, Market};
use crate::progress::Progress;
use crate::ready::Ready;
use crate::service::{Plan, Service};
use crate::{Part, StackError, StackOptions};
use nix::sys::signal::Signal;
use parking_lot::Mutex;
use std::env;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The network that the Horizon stand-in is; also the passphrase of every standalone network.
const PASSPHRASE: &str = "Standalone Network ; February 2017";
/// The number that the Twilio stand-in owns.
const TWILIO_FROM: &str = "+15005550006";
const NODES: u32 = 10;
const PATIENCE: Duration = Duration::from_secs(10);

/// Keys of one run, new each time. They open nothing outside this run's stand-ins.
struct Secrets {
    stripe_key: String,
    webhook_secret: String,
    lane_seed: String,
    user_seed: String,
    activator_seed: String,
    sendgrid_key: String,
    twilio_account: String,
    twilio_token: String,
    webhook_seed: String,
}

impl Secrets {
    fn generate() -> io::Result<Self> {
        Ok(Self {
            stripe_key: format!("sk_test_{}", random_hex(24)?),
            webhook_secret: format!("whsec_{}", random_hex(24)?),
            lane_seed: random_hex(32)?,
            user_seed: format!("0x{}", random_hex(32)?),
            activator_seed: format!("0x{}", random_hex(32)?),
            sendgrid_key: format!("SG.{}", random_hex(24)?),
            twilio_account: format!("AC{}", random_hex(16)?),
            twilio_token: random_hex(16)?,
            webhook_seed: random_hex(32)?,
        })
    }
}

fn random_hex(bytes: usize) -> io::Result<String> {
    let mut random = vec![0; bytes];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let digits = random.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    Ok(digits
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect())
}

/// The stand-ins and what a client of theirs must know.
pub(crate) struct StandIns {
    pub(crate) stripe: Service,
    pub(crate) horizon: Service,
    pub(crate) tfchain: Service,
    pub(crate) messaging: Service,
    secrets: Secrets,
    market: Market,
    /// Where webhooks go; told again to a restarted stand-in.
    webhook: Mutex<Option<String>>,
}

impl fmt::Debug for StandIns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandIns")
            .field("webhook", &self.webhook)
            .finish_non_exhaustive()
    }
}

impl StandIns {
    /// Starts them; the market is made on Horizon before TFChain's bridge looks at it.
    pub(crate) async fn start(
        options: &StackOptions,
        run: &Path,
        progress: Progress,
    ) -> Result<Self, StackError> {
        let secrets = Secrets::generate().map_err(|source| StackError::Folder {
            path: "/dev/urandom".into(),
            source,
        })?;
        let stripe = start(Part::Stripe, run, progress, &[], || {
            vec![
                ("SANDBOX_STRIPE_KEY", secrets.stripe_key.clone()),
                (
                    "SANDBOX_STRIPE_WEBHOOK_SECRET",
                    secrets.webhook_secret.clone(),
                ),
            ]
        });
        let messaging = start(Part::Messaging, run, progress, &[], || {
            vec![
                ("SANDBOX_SENDGRID_KEY", secrets.sendgrid_key.clone()),
                ("SANDBOX_TWILIO_ACCOUNT", secrets.twilio_account.clone()),
                ("SANDBOX_TWILIO_TOKEN", secrets.twilio_token.clone()),
            ]
        });
        let stellar = async {
            let close = options.close_ms.to_string();
            let arguments = ["--passphrase", PASSPHRASE, "--close-ms", &close];
            let horizon = start(Part::Horizon, run, progress, &arguments, Vec::new).await?;
            let market = market::seed(horizon.address(), PASSPHRASE).await?;
            let (block, nodes) = (options.block_ms.to_string(), NODES.to_string());
            let lag = options.finality_lag.to_string();
            let arguments = [
                "--horizon",
                horizon.address(),
                "--passphrase",
                PASSPHRASE,
                "--tft",
                &market.tft_asset,
                "--block-ms",
                &block,
                "--finality-lag",
                &lag,
                "--nodes",
                &nodes,
            ];
            let tfchain = start(Part::Tfchain, run, progress, &arguments, || {
                vec![
                    ("SANDBOX_BRIDGE_SECRET", market.bridge_secret.clone()),
                    ("SANDBOX_ACTIVATOR", secrets.activator_seed.clone()),
                ]
            })
            .await?;
            Ok((horizon, market, tfchain))
        };
        let (stripe, messaging, (horizon, market, tfchain)) =
            tokio::try_join!(stripe, messaging, stellar)?;
        Ok(Self {
            stripe,
            horizon,
            tfchain,
            messaging,
            secrets,
            market,
            webhook: Mutex::new(None),
        })
    }

    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let Secrets {
            stripe_key,
            webhook_secret,
            lane_seed,
            user_seed,
            activator_seed,
            sendgrid_key,
            twilio_account,
            twilio_token,
            webhook_seed,
        } = &self.secrets;
        let messaging = self.messaging.address().to_owned();
        vec![
            ("GRIDWAY_STRIPE_URL", self.stripe.address().to_owned()),
            ("GRIDWAY_STRIPE_KEY", stripe_key.clone()),
            ("GRIDWAY_STRIPE_WEBHOOK_SECRETS", webhook_secret.clone()),
            ("GRIDWAY_HORIZON_URL", self.horizon.address().to_owned()),
            ("GRIDWAY_STELLAR_PASSPHRASE", PASSPHRASE.to_owned()),
            ("GRIDWAY_USDC_ASSET", self.market.usdc_asset.clone()),
            ("GRIDWAY_TFT_ASSET", self.market.tft_asset.clone()),
            (
                "GRIDWAY_TREASURY_SECRET",
                self.market.treasury_secret.clone(),
            ),
            (
                "GRIDWAY_DEPOSIT_ACCOUNT",
                self.market.treasury_address.clone(),
            ),
            ("GRIDWAY_TREASURY_FUNDERS", self.market.funders.clone()),
            ("GRIDWAY_LANE_SEED", lane_seed.clone()),
            ("GRIDWAY_BRIDGE_ADDRESS", self.market.bridge_address.clone()),
            (
                "GRIDWAY_TFCHAIN_URL",
                self.tfchain.address().replacen("http://", "ws://", 1),
            ),
            ("GRIDWAY_TFCHAIN_USER_SEED", user_seed.clone()),
            ("GRIDWAY_TFCHAIN_ACTIVATOR_SEED", activator_seed.clone()),
            // Mails go to the mail server unless this key is set for SendGrid.
            ("GRIDWAY_SANDBOX_SENDGRID_KEY", sendgrid_key.clone()),
            ("GRIDWAY_SENDGRID_URL", messaging.clone()),
            ("GRIDWAY_TWILIO_URL", messaging),
            ("GRIDWAY_TWILIO_ACCOUNT", twilio_account.clone()),
            ("GRIDWAY_TWILIO_TOKEN", twilio_token.clone()),
            ("GRIDWAY_TWILIO_FROM", TWILIO_FROM.to_owned()),
            ("GRIDWAY_WEBHOOK_SEED", webhook_seed.clone()),
            // Receivers of the sandbox are on this machine.
            ("GRIDWAY_WEBHOOK_NETWORKS", "127.0.0.1/32".to_owned()),
        ]
    }

    /// Tells the Stripe stand-in where webhooks go.
    pub(crate) async fn set_webhook(&self, url: &str) -> Result<(), StackError> {
        *self.webhook.lock() = Some(url.to_owned());
        self.tell_webhook().await
    }

    /// Starts Stripe again; it keeps nothing, so it is told again where webhooks go.
    pub(crate) async fn restart_stripe(&self) -> Result<(), StackError> {
        self.stripe.restart().await?;
        self.tell_webhook().await
    }

    async fn tell_webhook(&self) -> Result<(), StackError> {
        let Some(url) = self.webhook.lock().clone() else {
            return Ok(());
        };
        let failed = |error: reqwest::Error| StackError::Webhook(error.to_string());
        let target = serde_json::json!({ "url": url, "secret": self.secrets.webhook_secret });
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .build()
            .map_err(failed)?;
        let control = format!("{}/_control/webhook", self.stripe.address());
        let answer = client
            .post(control)
            .json(&target)
            .send()
            .await
            .map_err(failed)?;
        answer.error_for_status().map_err(failed)?;
        Ok(())
    }

    pub(crate) fn services_mut(&mut self) -> [&mut Service; 4] {
        [
            &mut self.tfchain,
            &mut self.horizon,
            &mut self.stripe,
            &mut self.messaging,
        ]
    }
}

async fn start(
    part: Part,
    run: &Path,
    progress: Progress,
    arguments: &[&str],
    env: impl Fn() -> Vec<(&'static str, String)>,
) -> Result<Service, StackError> {
    let name = format!("sandbox-{part}");
    let program = beside_us(&name).ok_or_else(|| {
        StackError::MissingTools(format!(
            "{name} is not built; run: cargo build --workspace --bins"
        ))
    })?;
    Service::start(part, 1, progress, |ports| {
        let &[number] = ports else {
            return Err(StackError::Ports { part });
        };
        let address = format!("127.0.0.1:{number}");
        let mut args = vec!["--listen".to_owned(), address.clone()];
        args.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        Ok(Plan {
            launch: Launch {
                part,
                program: program.clone(),
                args,
                env: env()
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect(),
                dir: run.to_path_buf(),
                account: None,
                stop: Signal::SIGTERM,
                log: run.join(format!("{part}.log")),
            },
            ready: Ready::Listening,
            address: format!("http://{address}"),
        })
    })
    .await
}

/// A binary of this workspace: beside ours, or beside the folder in which tests run.
fn beside_us(name: &str) -> Option<PathBuf> {
    let ours = env::current_exe().ok()?;
    ours.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}
